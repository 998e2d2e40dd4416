"""Long campaigns: mutated files for every reader (`python -m fuzz.readers`), random masks for every writer
(`python -m fuzz.trips`); both in the folder of the tests. A slow test runs each."""
