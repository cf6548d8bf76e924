"""Where events of live feeds are sent: one module per kind of receiver."""
