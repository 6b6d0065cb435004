/**
 * A disk that can lose its power: ext4 in an image, on a loop device, mounted. Three file systems, each in a file of the
 * one before:
 *
 *   outer    in memory where there is /dev/shm
 *   drive    ext4 without a journal in outer/drive.img. Its page cache is the write cache of a drive: what the disk below
 *            wrote is in it, and comes into drive.img for certain only with a flush, or whenever the kernel likes
 *   disk     ext4 with a journal in drive/disk.img, where the commands run
 *
 * A cut must hold the disk as it was at one moment; a copy takes longer than that. So the file system above is frozen
 * (FIFREEZE): a write to the image is then either whole in it or waits, and none can come while it is copied. What was
 * not yet sent to the disk, its dirty pages and its running transaction, is not in the copy: it is what a cut loses.
 * `drive` frozen and disk.img copied is a drive that keeps all that it was sent; `outer` frozen and drive.img copied is
 * one that loses, or keeps in any order, what it was sent since the last flush.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { closeSync, fsyncSync, mkdirSync, openSync } from 'node:fs'
import { join } from 'node:path'

const [DISK_MIB, DRIVE_MIB, OUTER_MIB] = [32, 48, 72]
const WITHOUT_JOURNAL = ['-O', '^has_journal']
/** Strict ones: ext4 does not mend a rename without fsync, and names and sizes may come before the bytes. */
const WAYS_TO_MOUNT = ['data=ordered', 'data=writeback', 'data=writeback,nodelalloc'].flatMap(data =>
  [1, 5].map(seconds => `noauto_da_alloc,commit=${seconds},${data}`),
)
const UNMOUNT_TRIES = 50
/** What the name of a cut tells. */
const [DISK, DRIVE] = ['-disk.img', '-drive.img']

const call = (command, ...args) => execFileSync(command, args, { stdio: ['ignore', 'pipe', 'pipe'] })
const format = (image, mib, options = []) => {
  call('truncate', '-s', `${mib}M`, image)
  call('mkfs.ext4', '-q', '-F', '-E', 'lazy_itable_init=0', ...options, image)
}
/** All of a file written, so that no block of it is found a place later. */
const put = (from, to) => {
  call('cp', '--sparse=never', from, to)
  sync(to)
}
const sync = path => {
  const file = openSync(path)
  fsyncSync(file)
  closeSync(file)
}

/** Owns what it mounts until `close`. */
export class Drive {
  /** @param root a new folder */
  constructor(root) {
    this.at = name => join(root, name)
    this.mounted = []
    this.cuts = 0
    /** Where the disk is mounted, always. */
    this.folder = this.at('disk')
    for (const folder of ['outer', 'drive', 'disk', 'after']) mkdirSync(this.at(folder))
  }

  /** An empty disk, mounted. */
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
   * Puts what was saved or cut in place of the disk and mounts it: ext4 goes through its journal then.
   * @returns how it is mounted
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

  /** The disk as it is after an orderly end. @returns its image */
  save(name) {
    this.unmount(this.folder)
    const image = this.at(`${name}.img`)
    put(this.at('drive/disk.img'), image)
    return image
  }

  /**
   * Power is cut, at one moment of a disk that others go on using.
   * @param isCacheLost whether the drive loses what was not flushed
   * @returns what is found afterwards, for `load`; to be removed by the caller
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
    // First: a signal may end `mount` when it has done its work.
    this.mounted.push(folder)
    call('mount', '-o', `loop,${options}`, image, folder)
  }

  unmount(folder) {
    for (let left = UNMOUNT_TRIES; ; left--) {
      try {
        call('umount', folder)
        break
      } catch (error) {
        // A process that was killed may be on its way out.
        if (left === 0) throw error
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100)
      }
    }
    this.mounted = this.mounted.filter(other => other !== folder)
  }

  /** Sends all to the disk, or only what ext4 has in its running transaction: names, and sizes that it knows of. */
  flush(isAll) {
    if (isAll) call('sync', '-f', this.folder)
    else sync(this.folder)
  }

  /** Unmounts everything; the loop devices go with it. */
  close() {
    for (const above of ['outer', 'drive']) {
      try {
        call('fsfreeze', '--unfreeze', this.at(above))
      } catch {
        // It was not frozen.
      }
    }
    for (const folder of this.mounted.toReversed()) {
      if (spawnSync('mountpoint', ['-q', folder]).status === 0) this.unmount(folder)
    }
  }
}
