"""The console as an application and a process."""
