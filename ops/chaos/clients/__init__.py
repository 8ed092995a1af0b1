"""Clients of a fault run beside its load: attackers with honest neighbours, and pages that report visits."""
