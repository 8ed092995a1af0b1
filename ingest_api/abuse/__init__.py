"""Anomaly detection: requests are noted, examined off their path, and abuse is stopped (docs/abuse.md)."""
