"""Keys, references, surrogates of people and the vault that alone can say who they are."""
