//go:build !linux

package sqlite

import (
	"errors"
	"os"
)

// watchFile reports that this system is not asked to tell of writes.
func watchFile(string) (*os.File, error) { return nil, errors.ErrUnsupported }

func drain(*os.File) {}
