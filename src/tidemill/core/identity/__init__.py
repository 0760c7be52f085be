"""Identity: keys, references, pseudonyms (surrogates) of people, and the vault that can resolve them."""
