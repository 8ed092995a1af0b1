"""Visits of quizzes: how far each came, and at which question people leave."""
