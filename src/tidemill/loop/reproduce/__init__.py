"""Reproduction of trainings, in the same or a fresh environment."""
