"""How fresh the policy keeps what is watched, beside simpler policies and beside what no policy can beat."""
