"""The HTML report: one folder that opens from `file://`, without a server or a network."""
