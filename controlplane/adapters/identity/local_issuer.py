"""An OpenID Connect issuer for development, on loopback only. Its key pair and client secret are made at first start.

It serves discovery, its keys, and a token endpoint (RFC 6749 §4.4, client credentials) that whoever can read the secret's file may
use: the same person who can read the data folder.
"""

from __future__ import annotations

import hmac
import os
import secrets
import time
from pathlib import Path
from typing import Any, Final

import orjson
from aiohttp import web
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet

from controlplane.domain.federation import APPS_CLAIM, TENANTS_CLAIM
from controlplane.domain.identity import is_role

LIFE_SECONDS: Final = 3600
_KEYS = "issuer-keys.json"
_SECRET = "issuer-secret"  # noqa: S105 -- a file's name


class LocalIssuer:
    """Keys in `folder`, served on a loopback port. `issuer` is known once it was started."""

    def __init__(self, folder: Path, *, audience: str = "seawall", port: int = 0) -> None:
        self.folder = folder
        self.audience = audience
        self.issuer = ""
        self._port = port
        self._runner: web.AppRunner | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self._keys = self._load()

    @property
    def secret(self) -> str:
        """The client secret of the token endpoint; its file is readable by the owner alone."""
        path = self.folder / _SECRET
        if not path.exists():
            _write_private(path, secrets.token_urlsafe(32).encode())
        return path.read_text()

    async def start(self) -> str:
        """Serve; returns the issuer's address."""
        app = web.Application(client_max_size=64 * 1024, middlewares=[_loopback_only])
        app.router.add_get("/.well-known/openid-configuration", self._discovery)
        app.router.add_get("/jwks.json", self._jwks)
        app.router.add_post("/token", self._token)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        self.issuer = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self.issuer

    async def stop(self) -> None:
        """Stop serving."""
        if self._runner is not None:
            await self._runner.cleanup()

    def rotate(self, *, keep_old: bool = True) -> None:
        """Sign with a new key from now on; the old ones stay published unless told otherwise."""
        new = _new_key()
        self._keys = KeySet([new, *(self._keys.keys if keep_old else [])])
        self._save()

    def sign(self, claims: dict[str, Any], *, header: dict[str, Any] | None = None) -> str:
        """Sign claims; `iss`, `aud`, `iat` and `exp` are filled in where missing."""
        now = int(time.time())
        times = {"iss": self.issuer, "aud": self.audience, "iat": now, "exp": now + LIFE_SECONDS}
        key = self._keys.keys[0]
        return jwt.encode({"alg": "ES256", "kid": key.kid, **(header or {})}, {**times, **claims}, key)

    async def _discovery(self, _: web.Request) -> web.Response:
        algorithms = {
            "id_token_signing_alg_values_supported": ["ES256"],
            "grant_types_supported": ["client_credentials"],
        }
        types = {"response_types_supported": ["token"], "subject_types_supported": ["public"]}
        addresses = {"jwks_uri": f"{self.issuer}/jwks.json", "token_endpoint": f"{self.issuer}/token"}
        return web.json_response({"issuer": self.issuer, **addresses, **algorithms, **types})

    async def _jwks(self, _: web.Request) -> web.Response:
        return web.json_response(self._keys.as_dict(private=False))

    async def _token(self, request: web.Request) -> web.Response:
        form = await request.post()
        given = {name: str(form.get(name, "")) for name in ("grant_type", "client_id", "client_secret", "scope")}
        if not hmac.compare_digest(given["client_secret"].encode(), self.secret.encode()):
            return web.json_response({"error": "invalid_client"}, status=401)
        if given["grant_type"] != "client_credentials" or not given["client_id"]:
            return web.json_response({"error": "invalid_request"}, status=400)
        roles = [role for role in given["scope"].split() if is_role(role)]
        if not roles:
            return web.json_response({"error": "invalid_scope"}, status=400)
        bound = {
            claim: str(form.get(field, "")).split()
            for claim, field in ((TENANTS_CLAIM, "tenants"), (APPS_CLAIM, "apps"))
        }
        token = self.sign({"sub": given["client_id"], "name": given["client_id"], "roles": roles, **bound})
        body = {"access_token": token, "token_type": "Bearer", "expires_in": LIFE_SECONDS, "scope": " ".join(roles)}
        return web.json_response(body, headers={"Cache-Control": "no-store"})

    def _load(self) -> KeySet:
        path = self.folder / _KEYS
        if path.exists():
            return KeySet.import_key_set(orjson.loads(path.read_bytes()))
        self._keys = KeySet([_new_key()])
        self._save()
        return self._keys

    def _save(self) -> None:
        _write_private(self.folder / _KEYS, orjson.dumps(self._keys.as_dict(private=True)))


@web.middleware
async def _loopback_only(request: web.Request, handler: Any) -> web.StreamResponse:
    """Refuse other host names: a web page that rebinds its own name to 127.0.0.1 must not get in."""
    if request.host.partition(":")[0] not in ("127.0.0.1", "localhost"):
        return web.json_response({"error": "invalid_request"}, status=403)
    response: web.StreamResponse = await handler(request)
    return response


def _new_key() -> ECKey:
    return ECKey.generate_key("P-256", {"use": "sig", "alg": "ES256"}, auto_kid=True)


def _write_private(path: Path, content: bytes) -> None:
    """Replace a file in one step; only the owner may read it."""
    fresh = path.with_name(path.name + ".new")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
    fresh.replace(path)
