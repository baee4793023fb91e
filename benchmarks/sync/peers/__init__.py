"""The peers: installed from their registries into a cache of the user's, outside this repository, and driven over HTTP."""
