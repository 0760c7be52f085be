"""Stores that speak S3: objects and blobs, and what Delta tables and engines need to use one."""
