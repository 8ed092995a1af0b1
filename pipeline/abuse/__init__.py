"""What the edge decides about those who abuse it, as the edge and the operators' commands share it."""
