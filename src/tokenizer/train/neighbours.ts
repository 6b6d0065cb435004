/**
 * Effect of one merge on one side: for each neighbour token of the merged pair, the count that its pair with the old token
 * loses, the count that its pair with the new token gains, and the positions. Collected first, because the same neighbours
 * repeat and the tables of all pairs are far larger than the cache.
 */
export class Neighbours {
  /** Entry of each token id in this merge, + 1; 0 for none. */
  private readonly entryOfId: Int32Array
  private ids = new Int32Array(256)
  private losses = new Float64Array(256)
  private gains = new Float64Array(256)
  private placeCounts = new Int32Array(256)
  private size = 0

  /** Positions gained, in input order, and the entry of each. */
  private places = new Int32Array(1024)
  private entries = new Int32Array(1024)
  private placeCount = 0

  constructor(vocabSize: number) {
    this.entryOfId = new Int32Array(vocabSize)
  }

  /** The neighbour's pair with the old token is removed from `count` words. */
  lose(id: number, count: number): void {
    this.losses[this.entryOf(id)]! += count
  }

  /** The neighbour's pair with the new token occurs at `place`, in `count` words. */
  gain(id: number, count: number, place: number): void {
    const entry = this.entryOf(id)
    this.gains[entry]! += count
    this.placeCounts[entry]!++
    if (this.placeCount === this.places.length) {
      this.places = doubled(this.places)
      this.entries = doubled(this.entries)
    }
    this.places[this.placeCount] = place
    this.entries[this.placeCount++] = entry
  }

  /** Visits each neighbour once. */
  forEach(visit: (id: number, loss: number, gain: number) => void): void {
    for (let entry = 0; entry < this.size; entry++) visit(this.ids[entry]!, this.losses[entry]!, this.gains[entry]!)
  }

  /** Visits each neighbour that gained, with its positions in input order, then clears everything. */
  drain(visit: (id: number, places: Int32Array) => void): void {
    const grouped = new Int32Array(this.placeCount)
    const ends = new Int32Array(this.size)
    for (let entry = 0, end = 0; entry < this.size; entry++) {
      ends[entry] = end
      end += this.placeCounts[entry]!
    }
    for (let i = 0; i < this.placeCount; i++) grouped[ends[this.entries[i]!]!++] = this.places[i]!
    for (let entry = 0; entry < this.size; entry++) {
      const end = ends[entry]!
      const start = end - this.placeCounts[entry]!
      if (start < end) visit(this.ids[entry]!, grouped.subarray(start, end))
      this.entryOfId[this.ids[entry]!] = 0
    }
    this.size = 0
    this.placeCount = 0
  }

  private entryOf(id: number): number {
    const known = this.entryOfId[id]! - 1
    if (known >= 0) return known
    const entry = this.size++
    if (entry === this.ids.length) {
      this.ids = doubled(this.ids)
      this.losses = doubled(this.losses)
      this.gains = doubled(this.gains)
      this.placeCounts = doubled(this.placeCounts)
    }
    this.entryOfId[id] = entry + 1
    this.ids[entry] = id
    this.losses[entry] = 0
    this.gains[entry] = 0
    this.placeCounts[entry] = 0
    return entry
  }
}

function doubled<T extends Int32Array | Float64Array>(array: T): T {
  const larger = array instanceof Int32Array ? new Int32Array(2 * array.length) : new Float64Array(2 * array.length)
  larger.set(array)
  return larger as T
}
