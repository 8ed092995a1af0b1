"""What operators do about abuse at the edge."""
