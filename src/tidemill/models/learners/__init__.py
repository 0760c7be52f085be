"""Learners: one file each, with its settings, its training and its capabilities.

They are looked up by the entry point group `tidemill.learners`, see `registry`; `learner` defines their base class.
Serving does not import this folder: a bundle is served without the learner that trained it.
"""
