"""Write to the Hub and read from it: one commit that readers see whole, nothing sent twice, one sentence if refused."""
