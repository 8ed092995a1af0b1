"""Rate limits: one file per limit; each limit is a handler around another handler."""
