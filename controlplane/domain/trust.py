"""Whom to believe (`PUT /v1/trusts/{name}`): keys, and authorities whose certificates name an identity."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, Field, model_validator

from controlplane.domain.names import Name
from controlplane.domain.tree import PlainText
from controlplane.domain.wire import Wire

Pem = Annotated[str, Field(min_length=1, max_length=20_000)]
Scheme = Literal[
    "ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "rsassa-pss-sha256",
    "rsa-pkcs1v15-sha256",
    "ml-dsa-44/1",
    "ml-dsa-65/1",
    "ml-dsa-87/1",
]


class TrustedKey(Wire):
    """A public key and the name its signatures stand for. What came in outside its time is not believed."""

    name: Name
    public_key: Pem = Field(description="PEM, SubjectPublicKeyInfo.")
    scheme: Scheme | None = Field(default=None, description="None: the usual one of the key's type.")
    not_before: AwareDatetime | None = None
    not_after: AwareDatetime | None = None


class TrustedIdentity(Wire):
    """A name for whoever a certificate of one of the authorities is made out to."""

    name: Name
    subject: Annotated[str, Field(min_length=1, max_length=500)] = Field(
        description="The certificate's subject alternative name, in full: a URI or an e-mail address."
    )


class TrustSpec(Wire):
    """The body of `PUT /v1/trusts/{name}`."""

    description: PlainText = ""
    keys: tuple[TrustedKey, ...] = Field(default=(), max_length=50)
    authorities: tuple[Pem, ...] = Field(default=(), max_length=20, description="PEM certificates of roots.")
    identities: tuple[TrustedIdentity, ...] = Field(default=(), max_length=100)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        names = [key.name for key in self.keys] + [identity.name for identity in self.identities]
        if len(set(names)) < len(names):
            raise ValueError("two keys or identities have the same name")
        if bool(self.authorities) != bool(self.identities):
            raise ValueError("authorities and identities belong together: give both, or neither")
        if not names:
            raise ValueError("it trusts nobody: give keys, or authorities with identities")
        return self
