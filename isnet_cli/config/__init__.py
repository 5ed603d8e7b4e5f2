"""The configuration: schema, strict loader, checks, template."""
