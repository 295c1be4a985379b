"""The lake of vpcore on an object store."""
