/*
 * sendmsg() that fails as told, for LD_PRELOAD; see lib/sendmsg.py.
 *
 * Only what a UDP socket sends is counted and refused.  WT_SENDMSG names the
 * file whose numbers tell what to do; all processes share it.
 */

#define _GNU_SOURCE

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>


static struct {
    int32_t  gso_error;    /* of sends with UDP_SEGMENT */
    int32_t  full;         /* sends that find the socket full, -1: all */
    int32_t  mtu;          /* longest UDP payload, if not 0 */
    int32_t  refused;      /* counters */
    int32_t  sends;
    int32_t  trains;
} *state;


__attribute__((constructor)) static void
begin(void)
{
    int   fd;
    char *name = getenv("WT_SENDMSG");

    fd = name ? open(name, O_RDWR) : -1;
    if (fd == -1) {
        return;
    }

    state = mmap(NULL, sizeof(*state), PROT_READ | PROT_WRITE, MAP_SHARED,
                 fd, 0);
    close(fd);
}


static int
error_of(const struct msghdr *msg)
{
    size_t           size;
    uint16_t         segment = 0;
    struct cmsghdr  *cmsg;

    for (cmsg = CMSG_FIRSTHDR(msg); cmsg;
         cmsg = CMSG_NXTHDR((struct msghdr *) msg, cmsg))
    {
        if (cmsg->cmsg_level == SOL_UDP && cmsg->cmsg_type == UDP_SEGMENT) {
            memcpy(&segment, CMSG_DATA(cmsg), sizeof(segment));
        }
    }

    size = segment ? segment : msg->msg_iov[0].iov_len;

    if (state->full) {
        state->full -= state->full > 0;
        return EAGAIN;
    }

    if (segment && state->gso_error) {
        return state->gso_error;
    }

    if (state->mtu && size > (size_t) state->mtu) {
        return EMSGSIZE;
    }

    state->sends++;
    state->trains += segment != 0;

    return 0;
}


ssize_t
sendmsg(int fd, const struct msghdr *msg, int flags)
{
    static ssize_t (*next)(int, const struct msghdr *, int);

    int  error;

    if (next == NULL) {
        next = (ssize_t (*)(int, const struct msghdr *, int))
                   dlsym(RTLD_NEXT, "sendmsg");
    }

    if (state && msg->msg_name && msg->msg_iovlen == 1) {
        error = error_of(msg);

        if (error) {
            state->refused++;
            errno = error;
            return -1;
        }
    }

    return next(fd, msg, flags);
}
