/**
 * A disk that can lose power: ext4 in an image, mounted through a loop device. There are three file systems, each in a
 * file of the previous one:
 *
 *   outer    in memory, if /dev/shm exists
 *   drive    ext4 without a journal, in outer/drive.img. Its page cache acts as the write cache of a drive: writes of the
 *            disk are certain to reach drive.img only after a flush
 *   disk     ext4 with a journal, in drive/disk.img, where the commands run
 *
 * A power cut must capture the disk at one instant, but a copy takes longer. So the file system that contains the image is
 * frozen (FIFREEZE) while the image is copied: each write is then either complete in the image or blocked. Data not yet
 * sent to the disk (dirty pages and the running transaction) is not in the copy: the cut loses it. Freezing `drive` and
 * copying disk.img simulates a drive that keeps everything it received; freezing `outer` and copying drive.img simulates
 * one that loses, or keeps in any order, everything it received since the last flush.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { closeSync, fsyncSync, mkdirSync, openSync } from 'node:fs'
import { join } from 'node:path'

const [DISK_MIB, DRIVE_MIB, OUTER_MIB] = [32, 48, 72]
const WITHOUT_JOURNAL = ['-O', '^has_journal']
/** Strict options: no implicit flush on rename (auto_da_alloc), and metadata may reach the disk before the data. */
const WAYS_TO_MOUNT = ['data=ordered', 'data=writeback', 'data=writeback,nodelalloc'].flatMap(data =>
  [1, 5].map(seconds => `noauto_da_alloc,commit=${seconds},${data}`),
)
const UNMOUNT_TRIES = 50
/** Suffix of the image of a cut, by the file system that it contains. */
const [DISK, DRIVE] = ['-disk.img', '-drive.img']

const call = (command, ...args) => execFileSync(command, args, { stdio: ['ignore', 'pipe', 'pipe'] })
const format = (image, mib, options = []) => {
  call('truncate', '-s', `${mib}M`, image)
  call('mkfs.ext4', '-q', '-F', '-E', 'lazy_itable_init=0', ...options, image)
}
/** Copies a file without holes, so that no block is allocated later. */
const put = (from, to) => {
  call('cp', '--sparse=never', from, to)
  sync(to)
}
const sync = path => {
  const file = openSync(path)
  fsyncSync(file)
  closeSync(file)
}

/** Owns its mounts until `close` is called. */
export class Drive {
  /** @param root a new folder */
  constructor(root) {
    this.at = name => join(root, name)
    this.mounted = []
    this.cuts = 0
    /** Mount point of the disk; it never changes. */
    this.folder = this.at('disk')
    for (const folder of ['outer', 'drive', 'disk', 'after']) mkdirSync(this.at(folder))
  }

  /** Creates and mounts an empty disk. */
  open() {
    format(this.at('outer.img'), OUTER_MIB, WITHOUT_JOURNAL)
    this.mount(this.at('outer.img'), this.at('outer'), 'noatime')
    format(this.at('drive.img'), DRIVE_MIB, WITHOUT_JOURNAL)
    put(this.at('drive.img'), this.at('outer/drive.img'))
    this.mount(this.at('outer/drive.img'), this.at('drive'), 'noatime')
    format(this.at('blank.img'), DISK_MIB)
    this.load(this.at('blank.img'))
  }

  /**
   * Replaces the disk with a saved image or one from a cut and mounts it, upon which ext4 replays its journal.
   * @returns the mount options
   */
  load(image) {
    if (this.mounted.includes(this.folder)) this.unmount(this.folder)
    const isDrive = image.endsWith(DRIVE)
    if (isDrive) this.mount(image, this.at('after'), 'noatime')
    put(isDrive ? this.at('after/disk.img') : image, this.at('drive/disk.img'))
    if (isDrive) this.unmount(this.at('after'))
    const way = WAYS_TO_MOUNT[Math.floor(Math.random() * WAYS_TO_MOUNT.length)]
    this.mount(this.at('drive/disk.img'), this.folder, way)
    return way
  }

  /** Saves the disk after a clean unmount. @returns the image */
  save(name) {
    this.unmount(this.folder)
    const image = this.at(`${name}.img`)
    put(this.at('drive/disk.img'), image)
    return image
  }

  /**
   * Simulates a power cut while processes keep using the disk.
   * @param isCacheLost whether the drive loses unflushed writes
   * @returns an image for `load`, which the caller must remove
   */
  cut(isCacheLost) {
    const [above, file, name] = isCacheLost ? ['outer', 'outer/drive.img', DRIVE] : ['drive', 'drive/disk.img', DISK]
    const image = this.at(`${this.cuts++}${name}`)
    call('fsfreeze', '--freeze', this.at(above))
    try {
      call('cp', this.at(file), image)
    } finally {
      call('fsfreeze', '--unfreeze', this.at(above))
    }
    return image
  }

  mount(image, folder, options) {
    // Recorded first, because a signal may interrupt this process after `mount` succeeded.
    this.mounted.push(folder)
    call('mount', '-o', `loop,${options}`, image, folder)
  }

  unmount(folder) {
    for (let left = UNMOUNT_TRIES; ; left--) {
      try {
        call('umount', folder)
        break
      } catch (error) {
        // A killed process may not have exited yet.
        if (left === 0) throw error
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100)
      }
    }
    this.mounted = this.mounted.filter(other => other !== folder)
  }

  /** Flushes everything, or only the running transaction of ext4: names and allocated sizes. */
  flush(isAll) {
    if (isAll) call('sync', '-f', this.folder)
    else sync(this.folder)
  }

  /** Unmounts everything, which also detaches the loop devices. */
  close() {
    for (const above of ['outer', 'drive']) {
      try {
        call('fsfreeze', '--unfreeze', this.at(above))
      } catch {
        // Was not frozen.
      }
    }
    for (const folder of this.mounted.toReversed()) {
      if (spawnSync('mountpoint', ['-q', folder]).status === 0) this.unmount(folder)
    }
  }
}
