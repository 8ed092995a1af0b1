"""Verbs for what operators put in place: tenants, quizzes, campaigns, numbers, tokens, suppressions."""
