"""Recommendations: the route, the predictor and user histories."""
