package cache

import (
	"fmt"
	"os"
	"path/filepath"
)

// Variable is the environment variable that names the cache's folder, or turns
// the cache off where it is "off". Only this file reads the environment.
const Variable = "MEMC_CACHE"

// Default opens the user's cache: the folder that MEMC_CACHE names, or memc in
// the system's folder for caches.
func Default() (*Cache, error) {
	switch dir := os.Getenv(Variable); dir {
	case "":
	case "off":
		return &Cache{}, nil
	default:
		return Open(dir)
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return nil, fmt.Errorf("there is no folder for caches (set %s to one, or to off): %w", Variable, err)
	}
	return Open(filepath.Join(dir, "memc"))
}
