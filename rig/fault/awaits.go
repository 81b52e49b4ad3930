package fault

// Awaits tells whether a rule that may still fire waits for such a point, so that
// a service need not wait for what makes it one unless it is asked for. What the
// rule does may spare the point all the same. A nil plan awaits nothing.
func (p *Plan) Awaits(pt Point) bool {
	if p == nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.rules {
		used := e.rule.times > 0 && e.fired >= e.rule.times
		if !used && e.rule.effect != nil && e.rule.matches(pt) {
			return true
		}
	}
	return false
}
