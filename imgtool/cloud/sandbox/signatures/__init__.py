"""The signatures of the three protocols, verified as their documentation says; each in a room of its own."""
