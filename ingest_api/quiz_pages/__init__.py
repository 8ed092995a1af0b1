"""Pages of quizzes: read from PostgreSQL, rendered once, and cached in the process and in Valkey."""
