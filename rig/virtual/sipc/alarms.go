package sipc

import (
	"slices"
	"time"
)

// alarm calls a function at a time.
type alarm struct {
	at time.Time
	do func()
}

// alarms calls functions at their times. It belongs to Run's goroutine.
type alarms struct {
	now time.Time
	set []*alarm // in the order in which they were set
}

// after sets an alarm.
func (a *alarms) after(d time.Duration, do func()) *alarm {
	al := &alarm{a.now.Add(d), do}
	a.set = append(a.set, al)
	return al
}

func (a *alarms) cancel(al *alarm) {
	a.set = slices.DeleteFunc(a.set, func(other *alarm) bool { return other == al })
}

func (a *alarms) until() time.Duration {
	const long = time.Hour
	next := time.Now().Add(long)
	for _, al := range a.set {
		if al.at.Before(next) {
			next = al.at
		}
	}
	return time.Until(next)
}

// ring calls what is due, the earliest first.
func (a *alarms) ring() {
	for {
		var due *alarm
		for _, al := range a.set {
			if !al.at.After(a.now) && (due == nil || al.at.Before(due.at)) {
				due = al
			}
		}
		if due == nil {
			return
		}
		a.cancel(due)
		due.do()
	}
}
