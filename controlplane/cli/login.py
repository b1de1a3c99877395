"""`login`: keep an address and a key, after checking that they work."""

from __future__ import annotations

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(login)


def login(
    url: Annotated[str, typer.Argument(help="The API's address, such as https://seawall.example.com")],
    name: Annotated[
        str, typer.Option("--profile", help="Name of the profile; SEAWALL_PROFILE chooses one.")
    ] = "default",
    key_file: Annotated[
        typer.FileText | None, typer.Option("--key-file", help="Read the key from a file; - is stdin. Default: ask.")
    ] = None,
) -> None:
    """Store an address and a key in a profile that only you can read.

    The key is an API key (sw_...) or a token of the configured issuer. It is never taken from the command line, where
    other users of the machine could read it.
    """
    from .client import Client
    from .output import say
    from .profile import Profile, save_profile

    key = key_file.read() if key_file else typer.prompt("Key", hide_input=True, err=True)
    client = Client(Profile(url.rstrip("/"), key.strip()))
    who = client.get("/v1/whoami")
    path = save_profile(name, Profile(url.rstrip("/"), key.strip(), client.fleet), use=True)
    say(f"You are {who['name'] or who['id']} with {', '.join(who['roles'])}. Profile {name} is in use ({path}).")
