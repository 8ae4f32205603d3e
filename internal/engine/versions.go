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

// maxRanges is how many ranges that nobody asks for any more a node goes on
// asking for, so that the next instance with one of them need not wait for a
// survey.
const maxRanges = 100

// surveys looks at what instances wait for: when there may be new ones, though
// no more often than the node beats, and once in a while in any case. The look
// may take its time, so no heartbeat waits for it.
func (e *Engine) surveys(ctx context.Context) {
	lacking := map[provider.Definition]bool{}
	for len(e.orchestrations) > 0 { // a node of workers leaves all of them to others
		if e.member() {
			lacking = e.survey(ctx, lacking)
		}
		interval := e.beatInterval()
		if !e.await(ctx, nil, interval) || !e.await(ctx, e.wakeSurvey, max(0, e.o.MaxPoll-interval)) {
			return
		}
	}
}

// survey finds out which ranges of versions are asked for in the store, so that
// claims ask for those that this node can serve, and says which definitions it
// lacks the code for, unless it has said so. It returns these.
func (e *Engine) survey(ctx context.Context, said map[provider.Definition]bool) map[provider.Definition]bool {
	asked, err := e.store.Definitions(ctx)
	if err != nil {
		return said
	}
	before := *e.definitions.Load()
	known := make(map[provider.Definition]bool, len(before))
	for _, d := range before {
		known[d] = true
	}
	var fits, unknown []provider.Definition
	lacking := map[provider.Definition]bool{}
	for _, d := range asked {
		if e.resolve(d.Name, d.Version) != nil {
			if fits = append(fits, d); !known[d] {
				unknown = append(unknown, d)
			}
			continue
		}
		lacking[d] = true
		if !said[d] {
			e.o.Logger.Info("instances need code that this node does not have; they wait for one that has it",
				"node", int64(e.nodeKey()), "orchestration", d.Name, "version", d.Version)
		}
	}
	if len(unknown) == 0 {
		return lacking
	}
	now := append(slices.Clip(before), unknown...)
	if len(now) > len(e.registered)+maxRanges {
		now = append(slices.Clip(e.registered), slices.DeleteFunc(fits, func(d provider.Definition) bool {
			return slices.Contains(e.registered, d)
		})...)
	}
	e.definitions.Store(&now)
	poke(e.wake)
	return lacking
}
