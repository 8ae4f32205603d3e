package engine

import (
	"context"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"

	"github.com/durango-go/durango/provider"
)

// compareVersions orders semantic versions (semver.org, 11). What is none is
// ordered as text; the caller has seen to it that there is none.
func compareVersions(a, b string) int {
	va, errA := semver.StrictNewVersion(a)
	vb, errB := semver.StrictNewVersion(b)
	if errA != nil || errB != nil {
		return strings.Compare(a, b)
	}
	return va.Compare(vb)
}

// resolve finds the code for a name and a version: the highest for an empty
// version, the highest that fits for a range.
func (e *Engine) resolve(name, version string) *Orchestration {
	versions := e.orchestrations[name]
	for i := range versions {
		if version == "" || versions[i].Version == version {
			return &versions[i]
		}
	}
	if len(versions) == 0 || exact(version) {
		return nil
	}
	fits, err := semver.NewConstraint(version)
	if err != nil {
		return nil
	}
	for i := range versions {
		if v, err := semver.StrictNewVersion(versions[i].Version); err == nil && fits.Check(v) {
			return &versions[i]
		}
	}
	return nil
}

// exact reports whether a version is one, and not a range.
func exact(version string) bool {
	_, err := semver.StrictNewVersion(version)
	return err == nil
}

// survey finds out which ranges of versions are asked for in the store, so that
// claims ask for those that this node can serve, and says which definitions it
// lacks the code for.
func (e *Engine) survey(ctx context.Context, node provider.NodeKey) {
	asked, err := e.store.Definitions(ctx)
	if err != nil {
		return
	}
	own := *e.definitions.Load()
	known := map[provider.Definition]bool{}
	for _, d := range own {
		known[d] = true
	}
	more := own
	for _, d := range asked {
		switch {
		case known[d]:
		case e.resolve(d.Name, d.Version) != nil:
			more = append(slices.Clip(more), d)
		case !e.lacking[d]:
			if e.lacking == nil {
				e.lacking = map[provider.Definition]bool{}
			}
			e.lacking[d] = true
			e.o.Logger.Info("instances need code that this node does not have; they wait for one that has it",
				"node", int64(node), "orchestration", d.Name, "version", d.Version)
		}
	}
	if len(more) > len(own) {
		e.definitions.Store(&more)
		poke(e.wake)
	}
}
