"""Who may do what: credentials, roles, tenants, certificates, and the audit log."""
