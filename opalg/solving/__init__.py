"""The only loop, and what it returns: statuses, certificates, histories, solutions."""
