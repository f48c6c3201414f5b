"""The running app without its faces: the engine that serves, who waits for it, whose images it holds, what an error says."""
