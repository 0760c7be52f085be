"""Learners: one file for each, with its settings, its learning, and what it can be used for.

They are looked up by the entry point group `tidemill.learners`, see `registry`; `learner` says what one is made of.
What answers lies outside of this folder and does not import it: a bundle is served without the learner that left it.
"""
