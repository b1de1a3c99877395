"""Who calls: API keys from the registry, OpenID Connect tokens from an issuer."""
