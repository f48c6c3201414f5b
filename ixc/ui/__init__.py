"""The page: what is shown and how a user's actions become requests. Holds no knowledge of any model."""
