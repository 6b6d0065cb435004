/** Colours of runs, as numbers of the classes and variables in the style sheet; further runs reuse them. */
export const COLOURS = 8
