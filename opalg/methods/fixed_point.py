"""The bare fixed point of a declared map that is no gradient, sought by Anderson acceleration."""
