"""The page's module, with the official client in headless Chromium, against the development Realtime server."""
