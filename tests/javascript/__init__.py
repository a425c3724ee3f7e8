"""The official JavaScript client against the development Realtime server, in Node and in a browser."""
