"""What deploy/ holds is what the code has, and works as far as it shows without the engines it is for."""
