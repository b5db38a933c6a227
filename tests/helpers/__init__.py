"""Code that several test files share: toy models, tiny runs, stand-ins."""
