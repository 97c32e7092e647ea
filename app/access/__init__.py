"""Access: who may call, as bearer tokens with a scope."""
