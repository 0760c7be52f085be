"""Reports of feature views: state, significance and skew."""
