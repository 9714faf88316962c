"""A server that shares models among many callers: OpenAI's HTTP and realtime shapes, plain websockets, Wyoming."""
