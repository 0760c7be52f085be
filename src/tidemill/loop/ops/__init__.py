"""Operations: checks of the machine and audits of the project."""
