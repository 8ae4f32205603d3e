//go:build !race

package engine

// defaultSeeds is how many seeds a simulation runs unless told.
const defaultSeeds = 400
